# tenure_options: what every translation unit is compiled with, generated code too (sanitizers, language mode).
# tenure_common:  tenure_options + warnings as errors + the libraries whose headers are precompiled; our targets.
#
# The precompiled headers are built once (tenure_pch, and tenure_test_pch with gtest on top) and reused by all
# targets: so all must agree on every flag that changes the language, which is why flags stand only here.

add_library(tenure_options INTERFACE)
target_compile_options(tenure_options INTERFACE -pthread -fno-omit-frame-pointer -fdiagnostics-color=auto)
target_link_options(tenure_options INTERFACE -pthread -fuse-ld=lld -Wl,--as-needed)
# Bounds and precondition checks of the standard library stay on in every build, release included.
target_compile_definitions(tenure_options INTERFACE _GLIBCXX_ASSERTIONS)

if(TENURE_SANITIZE)
  # vptr needs type information of every library that is linked and finds nothing that ASan does not. Nor do the
  # others, on machines that read what is not aligned, and they make a quarter of the build.
  set(_left_out vptr,null,alignment,pointer-overflow,object-size,function,nonnull-attribute,returns-nonnull-attribute)
  target_compile_options(tenure_options INTERFACE
    -fsanitize=${TENURE_SANITIZE} -fno-sanitize=${_left_out} -fno-sanitize-recover=all)
  target_link_options(tenure_options INTERFACE -fsanitize=${TENURE_SANITIZE} -fno-sanitize=${_left_out})
  string(REPLACE "," ";" _sanitizers "${TENURE_SANITIZE}")
  foreach(_sanitizer IN LISTS _sanitizers)
    string(TOUPPER "${_sanitizer}" _name)
    string(REPLACE "-" "_" _name "${_name}")
    target_compile_definitions(tenure_options INTERFACE TENURE_SANITIZE_${_name})
  endforeach()
endif()
# TENURE_VERIFY, the expensive checks, are for tests and simulation; TENURE_CHECK is always on.
if(TENURE_EXPENSIVE_CHECKS)
  target_compile_definitions(tenure_options INTERFACE TENURE_VERIFY_ON)
endif()
if(TENURE_COVERAGE)
  target_compile_options(tenure_options INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(tenure_options INTERFACE -fprofile-instr-generate)
endif()

# Object files do not name the directory they were built in; messages of TENURE_CHECK say "src/...".
target_compile_options(tenure_options INTERFACE "-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")

find_program(TENURE_CCACHE ccache)
if(TENURE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache does not cache what uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    /usr/bin/env CCACHE_SLOPPINESS=pch_defines,time_macros "${TENURE_CCACHE}")
  target_compile_options(tenure_options INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
endif()

add_library(tenure_common INTERFACE)
target_link_libraries(tenure_common INTERFACE tenure_options)
target_compile_options(tenure_common INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wthread-safety -Werror
  # A partly initialised designated aggregate takes the rest from its default member initialisers: wanted here.
  -Wno-missing-field-initializers -Wno-missing-designated-field-initializers)

# A mutant changes one line of one file. Only files that name it get the macro, so a mutant compiles one file and
# not everything; when a header names it, all do.
function(tenure_apply_mutant)
  if(NOT TENURE_MUTANT)
    return()
  endif()
  set(macro "TENURE_MUTANT_${TENURE_MUTANT}")
  file(GLOB_RECURSE headers "${CMAKE_SOURCE_DIR}/src/*.h" "${CMAKE_SOURCE_DIR}/sim/*.h")
  foreach(header IN LISTS headers)
    file(STRINGS "${header}" hit REGEX "${macro}([^A-Za-z0-9_]|$)" LIMIT_COUNT 1)
    if(hit)
      target_compile_definitions(tenure_common INTERFACE ${macro})
      message(STATUS "Mutant ${TENURE_MUTANT}: named in a header, defined everywhere")
      return()
    endif()
  endforeach()
  file(GLOB_RECURSE sources "${CMAKE_SOURCE_DIR}/src/*.cc" "${CMAKE_SOURCE_DIR}/sim/*.cc")
  set(found FALSE)
  foreach(source IN LISTS sources)
    file(STRINGS "${source}" hit REGEX "${macro}([^A-Za-z0-9_]|$)" LIMIT_COUNT 1)
    if(hit)
      set_property(GLOBAL APPEND PROPERTY TENURE_MUTANT_SOURCES "${source}")
      set(found TRUE)
    endif()
  endforeach()
  if(NOT found)
    message(FATAL_ERROR "TENURE_MUTANT=${TENURE_MUTANT}: no file under src/ or sim/ names ${macro}")
  endif()
endfunction()
tenure_apply_mutant()
