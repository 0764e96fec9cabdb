// What the types of this folder share.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::controller {

// The record's body as a message of its type.
template <class Body>
StatusOr<Body> BodyOf(const ::tenure::v1::ProcedureRecord& procedure) {
  Body body;
  if (body.ParseFromString(procedure.body())) return body;
  return Error(StatusCode::kDataLoss, "its body is no valid {}", body.GetTypeName());
}

inline Status UnknownStep(const ::tenure::v1::ProcedureRecord& procedure) {
  return Error(StatusCode::kUnimplemented, "its step '{}' is not known to this program", procedure.step());
}

}  // namespace tenure::controller
