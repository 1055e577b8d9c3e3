# The target `lint`: clang-tidy over every source, only where the source, a header it includes, its flags or the checks
# have changed since it last passed. Not part of `all`. See .clang-tidy.
find_program(FATHOM_CLANG_TIDY clang-tidy)
if(FATHOM_CLANG_TIDY)
  add_custom_target(lint)
else()
  add_custom_target(lint COMMAND echo "clang-tidy is needed: apt-get install clang-tidy" COMMAND false VERBATIM)
endif()

# Has `lint` check the sources of a target of the calling directory.
function(fathom_lint target)
  if(NOT FATHOM_CLANG_TIDY)
    return()
  endif()
  set(includes $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
  set(definitions $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
  set(stamps)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE name)
    set(stamp ${CMAKE_BINARY_DIR}/lint/${name}.passed)
    cmake_path(GET stamp PARENT_PATH folder)
    file(MAKE_DIRECTORY ${folder})
    get_source_file_property(own_definitions ${source} COMPILE_DEFINITIONS)
    if(NOT own_definitions)
      set(own_definitions)
    endif()
    add_custom_command(
      OUTPUT ${stamp}
      COMMAND ${CMAKE_SOURCE_DIR}/tools/lint.sh ${stamp} ${source} -std=c++${CMAKE_CXX_STANDARD}
              "$<$<BOOL:${includes}>:-I$<JOIN:${includes},;-I>>"
              "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>"
              "$<$<BOOL:${own_definitions}>:-D$<JOIN:${own_definitions},;-D>>"
      DEPENDS ${source} ${CMAKE_SOURCE_DIR}/.clang-tidy ${CMAKE_SOURCE_DIR}/tests/.clang-tidy
              ${CMAKE_SOURCE_DIR}/tools/lint.sh
      DEPFILE ${stamp}.d
      COMMENT "Checking ${name}"
      VERBATIM COMMAND_EXPAND_LISTS)
    list(APPEND stamps ${stamp})
  endforeach()
  add_custom_target(lint_${target} DEPENDS ${stamps})
  add_dependencies(lint lint_${target})
endfunction()
