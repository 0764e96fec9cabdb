// Clients that read and write registers, one operation at a time, through the interfaces that users have:
// keys of the store over the Redis protocol, entries of the catalog over the client library. Every written
// value is unique.
//
// Threading: the client's executor, on a machine of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "sim/history.h"
#include "sim/resp_client.h"
#include "sim/scheduler.h"

namespace tenure::sim {

struct RegisterClientOptions {
  std::string name;
  uint32_t registers = 4;
  Duration think_time_max = std::chrono::milliseconds(200);
  Duration max_rest = Duration::zero();  // of a key client, after one operation in ten
  Duration timeout = std::chrono::seconds(6);
  uint32_t read_percent = 50;
  uint32_t delete_percent = 10;
};

class KeyClient {
 public:
  KeyClient(Scheduler& world, runtime::Executor& executor, runtime::Network& network,
            std::vector<runtime::Endpoint> nodes, History& history, Prng prng, RegisterClientOptions options);
  // Again after Stop, too, once what was under way then has ended.
  void Start() {
    stopped_ = false;
    Pause();
  }
  void Stop() { stopped_ = true; }
  // When a write was acknowledged last.
  std::optional<Instant> last_write() const { return last_write_; }

 private:
  void Pause();
  void Next();
  void OnAnswer(const History::Ticket& ticket, bool read, const RespAnswer& answer);

  Scheduler& world_;
  runtime::Executor& executor_;
  History& history_;
  Prng prng_;
  const RegisterClientOptions options_;
  RespClient client_;
  uint64_t next_value_ = 1;
  bool stopped_ = false;
  std::optional<Instant> last_write_;
  runtime::Timer timer_;
};

class EntryClient {
 public:
  EntryClient(Scheduler& world, runtime::Executor& executor, runtime::Network& network,
              std::vector<runtime::Endpoint> controllers, History& history, Prng prng,
              RegisterClientOptions options);
  // Again after Stop, too, once what was under way then has ended.
  void Start() {
    stopped_ = false;
    Pause();
  }
  void Stop() { stopped_ = true; }
  // When a write was acknowledged last.
  std::optional<Instant> last_write() const { return last_write_; }

 private:
  void Pause();
  void Next();
  void Write(const std::string& key, bool remove);
  void Read(const std::string& key);
  void OnChanged(const History::Ticket& ticket, uint64_t sequence, const Status& status);

  Scheduler& world_;
  runtime::Executor& executor_;
  History& history_;
  Prng prng_;
  const RegisterClientOptions options_;
  client::ControllerClient client_;
  client::RequestIds ids_;
  uint64_t next_value_ = 1;
  bool stopped_ = false;
  std::optional<Instant> last_write_;
  runtime::Timer timer_;
};

}  // namespace tenure::sim
