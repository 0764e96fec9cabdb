// The Redis protocol on the simulated network: what resp/asio does with sockets, done with streams of the
// service "sim.Resp". A client opens "sim.Resp/Connect" and exchanges bytes with a resp::Session.
//
// Threading: the node's executor.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "resp/front_end.h"
#include "resp/session.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::sim {

inline constexpr std::string_view kRespService = "sim.Resp";

// A host of the simulated network is one address; its Redis port has a name of its own, as it has outside.
inline std::string RespAddressOf(const runtime::Endpoint& host) {
  return host + "1";
}
inline runtime::Endpoint HostOfRespAddress(const std::string& address) {
  return address.substr(0, address.size() - 1);
}

class RespBridge final : public runtime::Service {
 public:
  // All outlive this.
  RespBridge(runtime::Executor& executor, runtime::Network& network, resp::FrontEnd& front);
  // Ends all sessions; the network may keep connections a little longer.
  ~RespBridge() override;

  bool IsStream(std::string_view method) const override { return method == "Connect"; }
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override;

 private:
  class Connection;
  runtime::Executor& executor_;
  resp::FrontEnd& front_;
  std::set<Connection*> connections_;  // lint: allow(pointer) only ever detached, all at once
};

}  // namespace tenure::sim
