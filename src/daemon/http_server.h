// /metrics, /healthz and /readyz over HTTP (cpp-httplib).
//
// Threading: the pages are asked for on the server's own threads; Start and Stop from one thread.
// Lifetime:  what the pages use outlives the server, or Stop has returned.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "daemon/config.h"

namespace tenure::daemon {

struct HttpPages {
  std::function<std::string()> metrics;  // Prometheus text
  // OK, or why not; the text is the body either way.
  std::function<Status()> health;
  std::function<Status()> ready;
};

class HttpServer {
 public:
  // UNAVAILABLE naming the address if it cannot be listened on.
  static StatusOr<std::unique_ptr<HttpServer>> Start(const HostPort& listen, HttpPages pages);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  // Idempotent.
  void Stop();

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure::daemon
