// Private to rpc/: what names stand for, looked up where nobody waits for it. A name seen before is answered at
// once with its last addresses and looked up again for the next time: a name server that is down or slow
// matters to new names only, and no name waits for another.
//
// Threading: Find on the thread of Links (io), where `done` runs too. getaddrinfo cannot be cancelled, so a
//            lookup has a thread of its own that is never waited for; one at a time for a name.
// Lifetime:  lookups that are under way outlive it and then tell nobody.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/host_port.h"
#include "base/status.h"

namespace tenure::rpc {

class NameLookups {
 public:
  using Addresses = std::vector<::asio::ip::tcp::endpoint>;  // not empty, none twice
  using Done = std::function<void(const StatusOr<Addresses>&)>;

  explicit NameLookups(::asio::io_context& io);
  ~NameLookups();
  NameLookups(const NameLookups&) = delete;

  // UNAVAILABLE: what the resolver says. `done` may run before Find returns.
  void Find(const HostPort& name, Done done);
  // The same, blocking.
  static StatusOr<Addresses> FindNow(const HostPort& name);

 private:
  struct Shared;
  struct Name {
    Addresses last;  // empty: never found
    bool under_way = false;
    std::vector<Done> waiting;
  };
  void LookUp(const std::string& key, const HostPort& name);
  void OnFound(const std::string& key, const StatusOr<Addresses>& found);

  ::asio::io_context& io_;
  std::map<std::string, Name> names_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace tenure::rpc
