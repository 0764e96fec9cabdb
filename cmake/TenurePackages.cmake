# Everything comes from Debian 12's packages; `./dev` installs what is missing.

find_package(absl REQUIRED CONFIG)
find_package(fmt REQUIRED CONFIG)
find_package(spdlog REQUIRED CONFIG)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED CONFIG)
find_package(RocksDB REQUIRED CONFIG)
find_package(CLI11 REQUIRED CONFIG)
find_package(tomlplusplus REQUIRED CONFIG)
find_package(nlohmann_json REQUIRED CONFIG)
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
# The sinks of changefeeds.
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(NATS REQUIRED IMPORTED_TARGET libnats)
pkg_check_modules(HTTPLIB IMPORTED_TARGET cpp-httplib)
# A daemon allocates in one thread and frees in another all the time: glibc's allocator cost it a fifth of its CPU.
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

find_path(ASIO_INCLUDE_DIR asio.hpp REQUIRED)
add_library(tenure_asio INTERFACE)
target_include_directories(tenure_asio SYSTEM INTERFACE "${ASIO_INCLUDE_DIR}")
target_compile_definitions(tenure_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)

target_link_libraries(tenure_common INTERFACE absl::status absl::statusor absl::strings fmt::fmt)

if(TENURE_TESTS)
  find_package(GTest REQUIRED CONFIG)
  find_package(rapidcheck CONFIG QUIET)
endif()
if(TENURE_BENCH)
  find_package(benchmark REQUIRED CONFIG)
endif()

file(WRITE "${CMAKE_BINARY_DIR}/pch/empty.cc.new" "// Carries a precompiled header; has no code.\n")
file(COPY_FILE "${CMAKE_BINARY_DIR}/pch/empty.cc.new" "${CMAKE_BINARY_DIR}/pch/empty.cc" ONLY_IF_DIFFERENT)

set(TENURE_PCH_HEADERS
  <absl/status/status.h> <absl/status/statusor.h> <fmt/format.h>
  <algorithm> <array> <atomic> <bit> <charconv> <chrono> <compare> <concepts> <coroutine> <cstddef> <cstdint>
  <cstring> <deque> <functional> <limits> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view>
  <tuple> <type_traits> <unordered_map> <utility> <variant> <vector>)
add_library(tenure_pch OBJECT "${CMAKE_BINARY_DIR}/pch/empty.cc")
target_link_libraries(tenure_pch PRIVATE tenure_common)
target_precompile_headers(tenure_pch PRIVATE ${TENURE_PCH_HEADERS})

if(TENURE_TESTS)
  add_library(tenure_test_pch OBJECT "${CMAKE_BINARY_DIR}/pch/empty.cc")
  target_link_libraries(tenure_test_pch PRIVATE tenure_common GTest::gtest)
  target_compile_options(tenure_test_pch PRIVATE ${TENURE_TEST_FLAGS})
  target_precompile_headers(tenure_test_pch PRIVATE ${TENURE_PCH_HEADERS} <gtest/gtest.h>)
endif()
