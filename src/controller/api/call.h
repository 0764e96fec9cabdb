// Requests and answers of unary calls as messages.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/function.h"
#include "base/status.h"
#include "catalog/refusal.h"
#include "runtime/network.h"

namespace tenure::controller {

template <class Response>
using Answer = Callback<StatusOr<Response>>;

// Encodes what an operation answers.
template <class Response>
Answer<Response> AnswerTo(runtime::Reply reply) {
  return [reply = std::move(reply)](StatusOr<Response> answer) mutable {
    if (answer.ok()) {
      reply(answer->SerializeAsString());
    } else {
      reply(answer.status());
    }
  };
}

// Decodes the request and calls `operation(Request, Answer<Response>)`.
template <class Request, class Response, class Operation>
void Serve(const std::string& bytes, runtime::Reply reply, Operation operation) {
  Request request;
  if (!request.ParseFromString(bytes)) {
    reply(catalog::Refuse(::tenure::v1::REASON_INVALID_ARGUMENT, "the request is not a valid {}",
                          Request::descriptor()->full_name()));
    return;
  }
  operation(std::move(request), AnswerTo<Response>(std::move(reply)));
}

// Method name -> what serves it.
using CallTable = std::map<std::string_view,
                           absl::AnyInvocable<void(const runtime::CallInfo&, std::string, runtime::Reply)>>;

inline void Route(CallTable& table, const runtime::CallInfo& info, std::string request,
                  runtime::Reply reply) {
  const auto found = table.find(info.method);
  if (found == table.end()) {
    reply(Error(StatusCode::kUnimplemented, "there is no method {}", info.method));
    return;
  }
  found->second(info, std::move(request), std::move(reply));
}

}  // namespace tenure::controller
