#include "rpc/name_lookups.h"

#include <netdb.h>
#include <pthread.h>

#include <algorithm>
#include <asio/ip/address.hpp>
#include <asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace tenure::rpc {

using ::asio::ip::tcp;

struct NameLookups::Shared {
  std::mutex mutex;
  NameLookups* owner;  // null once it is gone
};

NameLookups::NameLookups(::asio::io_context& io) : io_(io), shared_(std::make_shared<Shared>()) {
  shared_->owner = this;
}

NameLookups::~NameLookups() {
  const std::lock_guard lock(shared_->mutex);
  shared_->owner = nullptr;
}

StatusOr<NameLookups::Addresses> NameLookups::FindNow(const HostPort& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const std::string port = std::to_string(name.port);
  const int error = ::getaddrinfo(name.host.c_str(), port.c_str(), &hints, &list);
  if (error != 0) {
    const std::string why =
        error == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(error);
    return Error(StatusCode::kUnavailable, "cannot find {}: {}", name.host, why);
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, ::freeaddrinfo);
  Addresses addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    tcp::endpoint address;
    if (entry->ai_addrlen > address.capacity()) continue;
    std::memcpy(address.data(), entry->ai_addr, entry->ai_addrlen);
    address.resize(entry->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  }
  if (addresses.empty()) return Error(StatusCode::kUnavailable, "{} has no address", name.host);
  return addresses;
}

void NameLookups::Find(const HostPort& name, Done done) {
  std::error_code no_number;
  const auto number = ::asio::ip::make_address(name.host, no_number);
  if (!no_number) return done(Addresses{tcp::endpoint(number, name.port)});
  const std::string key = name.ToString();
  Name& entry = names_[key];
  if (!std::exchange(entry.under_way, true)) LookUp(key, name);
  if (entry.last.empty()) {
    entry.waiting.push_back(std::move(done));
  } else {
    const Addresses last = entry.last;
    done(last);
  }
}

void NameLookups::LookUp(const std::string& key, const HostPort& name) {
  const auto look_up = [shared = shared_, name, key] {
    pthread_setname_np(pthread_self(), "name-lookup");
    auto found = FindNow(name);
    const std::lock_guard lock(shared->mutex);
    if (shared->owner == nullptr) return;
    ::asio::post(shared->owner->io_,
                 [owner = shared->owner, key, found = std::move(found)] { owner->OnFound(key, found); });
  };
  try {
    std::thread(look_up).detach();
  } catch (const std::system_error& error) {  // no more threads
    ::asio::post(io_, [this, key, why = std::string(error.what())] {
      OnFound(key, Error(StatusCode::kUnavailable, "cannot look {} up: {}", key, why));
    });
  }
}

void NameLookups::OnFound(const std::string& key, const StatusOr<Addresses>& found) {
  Name& entry = names_[key];
  entry.under_way = false;
  if (found.ok()) entry.last = *found;
  for (const Done& done : std::exchange(entry.waiting, {})) done(found);
}

}  // namespace tenure::rpc
