// The data node of a process: the Node, its way to the controllers, and its Redis-protocol port.
//
// Threading: Start, Stop and Numbers from threads that are no executor; the rest happens on the regions'
//            executor.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "client/controller_client.h"
#include "daemon/changefeed_role.h"
#include "daemon/config.h"
#include "daemon/storage.h"
#include "daemon/threads.h"
#include "node/controller_link.h"
#include "node/node.h"
#include "resp/asio/server.h"
#include "resp/front_end.h"
#include "rpc/grpc_process.h"

namespace tenure::daemon {

class NodeRole final : private node::NodeOwner {
 public:
  // `refused`: this process cannot go on as a node of this cluster; from any thread.
  NodeRole(const Config& config, Threads& threads, Storage& storage, rpc::GrpcProcess& grpc, Prng prng,
           Logger logger, std::function<void(Status)> refused);
  ~NodeRole() override;

  // UNAVAILABLE if the Redis port cannot be had. Builds the node; nothing goes out before Run.
  Status Start();
  void Run();
  void Stop(Duration limit);
  // After Stop, or when executors have stopped.
  void ClosePort();

  struct Numbers {
    node::Node::Stats node;
    resp::FrontEndCounters resp;
    size_t connections = 0;
    changefeed::ChangefeedAgent::Numbers changefeeds;
  };
  // None if the executor does not answer.
  std::optional<Numbers> GetNumbers();
  void SetLoad(const node::ProcessLoad& load);
  Status Ready();

 private:
  void OnJoined(const std::string& cluster_id, uint64_t incarnation, NodeId node) override;
  void OnControllers(const std::map<uint64_t, std::string>& addresses) override;
  void OnRefused(const Status& status) override;
  node::NodeIdentity Identity() const;
  node::NodeOptions Options() const;
  void Build();

  const Config& config_;
  Threads& threads_;
  Storage& storage_;
  Prng prng_;
  Logger logger_;
  std::function<void(Status)> refused_;
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<client::ControllerClient> client_;
  std::unique_ptr<node::ControllerLink> link_;
  std::unique_ptr<group::Transport> transport_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<ChangefeedRole> changefeeds_;
  std::unique_ptr<resp::FrontEnd> front_end_;
  std::unique_ptr<resp::Server> server_;
};

}  // namespace tenure::daemon
