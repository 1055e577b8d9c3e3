# How everything is compiled: warnings are errors, sanitizers by preset, a fast linker, a compiler cache if there is one.
add_library(fathom_warnings INTERFACE)
target_compile_options(fathom_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                                                 -Woverloaded-virtual -Wundef -Werror)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# Results must not depend on which instructions the compiler fuses; kernels that want FMA say so.
add_compile_options(-ffp-contract=off)
# A tenth of GCC's time goes into collecting garbage, to stay below memory that every machine has.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options("SHELL:--param ggc-min-heapsize=1000000")
endif()

if(FATHOM_SANITIZE)
  add_compile_options(-fsanitize=${FATHOM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FATHOM_SANITIZE})
  # Instrumented code makes GCC 12 suspect variables that plain code shows to be set.
  target_compile_options(fathom_warnings INTERFACE -Wno-maybe-uninitialized)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
endif()

find_program(FATHOM_LLD ld.lld)
if(FATHOM_LLD)
  add_link_options(-fuse-ld=lld)
endif()
find_program(FATHOM_CCACHE ccache)
if(FATHOM_CCACHE)
  # What ccache must overlook to cache a unit that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${FATHOM_CCACHE})
  add_compile_options(-fpch-preprocess)
endif()
