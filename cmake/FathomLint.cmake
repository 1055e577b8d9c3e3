# The target `lint`: clang-tidy over every source, only where the source, a header it includes, its flags or the checks
# have changed since it last passed. Not part of `all`. See .clang-tidy.
find_program(FATHOM_CLANG_TIDY clang-tidy)
if(FATHOM_CLANG_TIDY)
  add_custom_target(lint)
else()
  add_custom_target(lint COMMAND echo "clang-tidy is needed: apt-get install clang-tidy" COMMAND false VERBATIM)
endif()

# Most of clang-tidy's time goes into the headers that sources share: sources of a folder are checked so many at a time.
# But not the kernels, each of which Highway reads once for every instruction set.
set(FATHOM_LINT_TOGETHER 6)

# Has `lint` check the sources of a target of the calling directory.
function(fathom_lint target)
  if(NOT FATHOM_CLANG_TIDY)
    return()
  endif()
  set(groups)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources EXCLUDE REGEX "^\\$<")
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE name)
    cmake_path(GET name PARENT_PATH folder)
    if(folder MATCHES "^(src/kernels|bench)$")
      set(group ${name})
    else()
      math(EXPR number "0${count_${folder}} / ${FATHOM_LINT_TOGETHER}")
      math(EXPR count_${folder} "0${count_${folder}} + 1")
      set(group ${folder}/${number})
    endif()
    list(APPEND groups ${group})
    list(APPEND sources_of_${group} ${source})
  endforeach()
  list(REMOVE_DUPLICATES groups)

  set(includes $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
  set(definitions $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
  set(stamps)
  foreach(group IN LISTS groups)
    set(own_definitions)
    set(content "// NOLINTBEGIN(bugprone-suspicious-include)\n")
    foreach(source IN LISTS sources_of_${group})
      string(APPEND content "#include \"${source}\"\n")
      get_source_file_property(source_definitions ${source} COMPILE_DEFINITIONS)
      if(source_definitions)
        list(APPEND own_definitions ${source_definitions})
      endif()
    endforeach()
    string(APPEND content "// NOLINTEND(bugprone-suspicious-include)\n")
    set(together ${CMAKE_BINARY_DIR}/lint/${group}.cpp)
    file(GENERATE OUTPUT ${together} CONTENT "${content}")
    set(stamp ${CMAKE_BINARY_DIR}/lint/${group}.passed)
    add_custom_command(
      OUTPUT ${stamp}
      COMMAND ${CMAKE_SOURCE_DIR}/tools/lint.sh ${stamp} ${together} -std=c++${CMAKE_CXX_STANDARD}
              "$<$<BOOL:${includes}>:-I$<JOIN:${includes},;-I>>"
              "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>"
              "$<$<BOOL:${own_definitions}>:-D$<JOIN:${own_definitions},;-D>>"
      DEPENDS ${together} ${CMAKE_SOURCE_DIR}/.clang-tidy ${CMAKE_SOURCE_DIR}/tools/lint.sh
      DEPFILE ${stamp}.d
      COMMENT "Checking ${group}"
      VERBATIM COMMAND_EXPAND_LISTS)
    list(APPEND stamps ${stamp})
  endforeach()
  add_custom_target(lint_${target} DEPENDS ${stamps})
  add_dependencies(lint lint_${target})
endfunction()
