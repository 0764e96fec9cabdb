// A Redis cluster client in the simulator: one connection per process, follows MOVED, gives every command a
// deadline. Of one database: every connection selects it by name before anything else is sent.
//
// Threading: its executor. A command is done exactly once.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/prng.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::sim {

struct RespAnswer {
  enum class Kind : uint8_t {
    kValue,    // `text`, or absent if `null`
    kRefused,  // an error after which nothing happened (CLUSTERDOWN, TRYAGAIN, ...)
    kUnknown,  // no answer, or one that says that the outcome is not known
  };
  Kind kind = Kind::kUnknown;
  bool null = false;
  std::string text;
  std::vector<std::string> elements;  // of an array
};

class RespClient {
 public:
  RespClient(runtime::Executor& executor, runtime::Network& network, std::vector<runtime::Endpoint> endpoints,
             Prng prng, Duration timeout, std::string database = "default");
  ~RespClient();

  // Sends the command to where its key's slot was last seen; one command at a time.
  void Execute(std::vector<std::string> arguments, Callback<RespAnswer> done);

 private:
  struct Connection;
  struct Request;

  void Send();
  void OnReply(const runtime::Endpoint& from, std::string line, std::optional<std::string> value, bool null,
               std::vector<std::string> elements = {});
  void OnConnectionLost(const runtime::Endpoint& endpoint);
  void Finish(RespAnswer answer);
  void Forget(const runtime::Endpoint& endpoint);

  runtime::Executor& executor_;
  runtime::Network& network_;
  const std::vector<runtime::Endpoint> endpoints_;
  Prng prng_;
  const Duration timeout_;
  const std::string database_;
  std::map<runtime::Endpoint, std::unique_ptr<Connection>> connections_;
  std::map<uint16_t, runtime::Endpoint> slots_;
  std::unique_ptr<Request> current_;
  runtime::Endpoint asked_;
  runtime::Timer deadline_;
};

}  // namespace tenure::sim
