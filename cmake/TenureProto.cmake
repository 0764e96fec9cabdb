# proto/tenure/**.proto -> tenure_proto: messages only, included as "tenure/v1/catalog.pb.h". There are no service
# stubs: rpc/ moves bytes with gRPC's generic interface, so gRPC types stay there. Generated code is compiled without
# our warnings and its headers are system headers.

file(GLOB_RECURSE protos CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/proto/tenure/*.proto")
set(proto_out "${CMAKE_BINARY_DIR}/proto")
file(MAKE_DIRECTORY "${proto_out}")

if(protos)
  set(generated)
  foreach(proto IN LISTS protos)
    file(RELATIVE_PATH relative "${CMAKE_SOURCE_DIR}/proto" "${proto}")
    string(REGEX REPLACE "\\.proto$" "" stem "${relative}")
    set(dependencies "${proto}")
    # Imports are few and change rarely: every file depends on all, so nothing is ever stale.
    list(APPEND dependencies ${protos})
    list(REMOVE_DUPLICATES dependencies)
    add_custom_command(
      OUTPUT "${proto_out}/${stem}.pb.cc" "${proto_out}/${stem}.pb.h"
      COMMAND protobuf::protoc -I "${CMAKE_SOURCE_DIR}/proto" "--cpp_out=${proto_out}" "${relative}"
      DEPENDS ${dependencies}
      WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}/proto"
      COMMENT "protoc ${relative}"
      VERBATIM)
    list(APPEND generated "${proto_out}/${stem}.pb.cc")
  endforeach()
  add_library(tenure_proto STATIC ${generated})
  target_include_directories(tenure_proto SYSTEM PUBLIC "${proto_out}")
  target_link_libraries(tenure_proto PUBLIC tenure_options protobuf::libprotobuf)
  target_compile_options(tenure_proto PRIVATE -w)
  set_target_properties(tenure_proto PROPERTIES UNITY_BUILD OFF)
else()
  add_library(tenure_proto INTERFACE)
  target_include_directories(tenure_proto SYSTEM INTERFACE "${proto_out}")
  target_link_libraries(tenure_proto INTERFACE tenure_options protobuf::libprotobuf)
endif()
