// What a node asks of the controllers as a whole: calls and streams that find the leading one by themselves.
//
// Implemented by ControllerLink over client/; a fake stands in for tests.
// Threading: one executor.
// Errors:    as runtime/network.h; refusals carry a tenure.v1.Refusal.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "base/status.h"
#include "base/time.h"
#include "runtime/network.h"

namespace tenure::node {

class ClusterLink {
 public:
  virtual ~ClusterLink() = default;
  // Finds and follows the leader, repeats what was certainly not executed, until `timeout`.
  virtual void Call(std::string_view method, std::string request, Duration timeout,
                    Callback<StatusOr<std::string>> done) = 0;
  // Opens a stream to the controller believed to lead, whose address goes to `*to`. `handler` must outlive
  // the stream.
  virtual std::unique_ptr<runtime::Stream> OpenStream(std::string_view method,
                                                      runtime::StreamHandler& handler,
                                                      runtime::Endpoint* to) = 0;
  // A stream to `to` ended with `status` or gave no sign of life: the next one goes where the status points,
  // else elsewhere.
  virtual void OnStreamFailed(const runtime::Endpoint& to, const Status& status) = 0;
  // Where all controllers are, as the leading one says. Those it was built with stay known besides.
  virtual void SetControllers(const std::vector<runtime::Endpoint>& controllers) = 0;
};

}  // namespace tenure::node
