# Makes a source file that holds configs/hardware/*.json and configs/models/*.json (src/plan/builtin_files.h).
file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/configs/hardware/*.json ${CMAKE_SOURCE_DIR}/configs/models/*.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
set(entries)
foreach(file IN LISTS files)
  cmake_path(GET file STEM LAST_ONLY name)
  cmake_path(GET file PARENT_PATH folder)
  cmake_path(GET folder FILENAME folder)
  file(READ ${file} text)
  string(APPEND entries "    {\"${folder}\", \"${name}\", R\"builtin(${text})builtin\"},\n")
endforeach()
set(FATHOM_BUILTIN_FILES ${CMAKE_BINARY_DIR}/generated/builtin_files.cpp)
file(CONFIGURE OUTPUT ${FATHOM_BUILTIN_FILES} @ONLY CONTENT
"// Made by cmake/FathomBuiltinFiles.cmake.
#include \"plan/builtin_files.h\"

namespace fathom {
namespace {

constexpr BuiltinFile kBuiltinFiles[] = {
@entries@};

}  // namespace

std::span<const BuiltinFile> builtin_files() {
  return kBuiltinFiles;
}

}  // namespace fathom
")
