# The compiler is clang 19. Included before project(), which fixes the compiler for good.

if(NOT DEFINED CMAKE_CXX_COMPILER AND NOT DEFINED ENV{CXX})
  find_program(TENURE_CLANG clang++-19)
  if(TENURE_CLANG)
    set(CMAKE_CXX_COMPILER "${TENURE_CLANG}")
  endif()
endif()

function(tenure_require_compiler)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 19)
    return()
  endif()
  message(FATAL_ERROR
    "Tenure compiles with clang 19 or newer; this is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} "
    "(${CMAKE_CXX_COMPILER}).\n"
    "Two reasons. g++ 12 (Debian 12's default) destroys a brace-built aggregate or a capturing lambda twice "
    "when it stands inside a co_await expression, so coroutine code that is correct crashes. And the locks "
    "between executors are checked by -Wthread-safety, which only clang has.\n"
    "On Debian 12: apt-get install clang-19 lld-19 libclang-rt-19-dev, then `cmake --preset dev` in an "
    "empty build directory (or ./dev build, which does both).")
endfunction()
