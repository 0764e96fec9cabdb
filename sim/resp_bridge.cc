#include "sim/resp_bridge.h"

#include <utility>

namespace tenure::sim {

class RespBridge::Connection final : public runtime::StreamHandler, public resp::Transport {
 public:
  Connection(RespBridge& bridge, std::unique_ptr<runtime::Stream> stream, const std::string& peer)
      : bridge_(&bridge), stream_(std::move(stream)), session_(bridge.front_.Connect(*this, peer, "sim")) {
    bridge.connections_.insert(this);
  }
  ~Connection() override {
    *alive_ = false;
    if (bridge_ != nullptr) bridge_->connections_.erase(this);
    End();
  }

  void OnMessage(std::string message) override {
    if (session_) session_->OnBytes(message);
  }
  void OnClosed(Status) override { End(); }

  void OnSessionReady() override {
    bridge_->executor_.Post([this, alive = alive_] {
      if (*alive) Deliver();
    });
  }

  void Detach() {
    End();
    bridge_ = nullptr;
  }

 private:
  void End() {
    if (!session_) return;
    session_->Abort();
    session_.reset();
  }

  void Deliver() {
    if (!session_) return;
    std::string output = session_->TakeOutput();
    if (!output.empty()) stream_->Send(std::move(output));
    if (session_->IsOver()) stream_->Close(OkStatus());
  }

  RespBridge* bridge_;  // null once it is gone
  std::unique_ptr<runtime::Stream> stream_;
  std::shared_ptr<resp::Session> session_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

RespBridge::~RespBridge() {
  for (Connection* connection : connections_) connection->Detach();
}

RespBridge::RespBridge(runtime::Executor& executor, runtime::Network& network, resp::FrontEnd& front)
    : executor_(executor), front_(front) {
  network.Serve(kRespService, *this);
}

void RespBridge::OnCall(const runtime::CallInfo& info, std::string, runtime::Reply reply) {
  reply(Error(StatusCode::kUnimplemented, "{} has no method {}", kRespService, info.method));
}

std::unique_ptr<runtime::StreamHandler> RespBridge::OnStream(const runtime::CallInfo& info,
                                                             std::unique_ptr<runtime::Stream> stream) {
  return std::make_unique<Connection>(*this, std::move(stream), info.peer);
}

}  // namespace tenure::sim
