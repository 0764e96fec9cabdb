// A real redis-server for one test: its own process on a unix socket in a temporary folder, ended with the
// object.
#pragma once

#include <sys/types.h>

#include <string>

#include "store/command_table.h"
#include "store/reply.h"

struct redisContext;

namespace tenure::store {

class RedisServer {
 public:
  static bool IsInstalled();
  RedisServer();  // fails the test if the server does not answer within ten seconds
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  bool ok() const { return context_ != nullptr; }
  Reply Run(const Arguments& arguments);

 private:
  std::string folder_;
  pid_t process_ = 0;
  redisContext* context_ = nullptr;
};

}  // namespace tenure::store
