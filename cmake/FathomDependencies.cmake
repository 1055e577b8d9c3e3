# Imported targets for the packages of packages.txt.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)

# Packages of Debian 12 without (good) CMake files of their own.
function(fathom_import name header library)
  find_path(${name}_INCLUDE ${header} PATH_SUFFIXES ${ARGN} REQUIRED)
  find_library(${name}_LIBRARY ${library} PATH_SUFFIXES ${ARGN} REQUIRED)
  add_library(${name} INTERFACE)
  target_include_directories(${name} SYSTEM INTERFACE ${${name}_INCLUDE})
  target_link_libraries(${name} INTERFACE ${${name}_LIBRARY})
endfunction()
fathom_import(hwy hwy/highway.h hwy)
# Threads are ours (base/thread_pool.h), each of which calls single-threaded GEMMs. The serial build of OpenBLAS takes no
# lock around its buffers and must not be called from several threads; kernels/gemm.cpp copes, slowly, if it meets it.
fathom_import(openblas cblas.h openblas openblas-pthread x86_64-linux-gnu/openblas-pthread
              openblas-serial x86_64-linux-gnu/openblas-serial)
fathom_import(pcre2 pcre2.h pcre2-8)
fathom_import(utf8proc utf8proc.h utf8proc)
fathom_import(zlib zlib.h z)
fathom_import(zstd zstd.h zstd)
fathom_import(httplib httplib.h cpp-httplib)
fathom_import(uring liburing.h uring)
fathom_import(hwloc hwloc.h hwloc)
fathom_import(seccomp seccomp.h seccomp)
