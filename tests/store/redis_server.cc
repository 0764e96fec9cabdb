#include "tests/store/redis_server.h"

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

extern char** environ;

namespace tenure::store {
namespace {

Reply Convert(const redisReply& reply) {
  const auto text = [&reply] { return std::string(reply.str, reply.len); };
  switch (reply.type) {
    case REDIS_REPLY_STATUS:
      return Reply::Simple(text());
    case REDIS_REPLY_ERROR:
      return Reply::Error(text());
    case REDIS_REPLY_INTEGER:
      return Reply::Integer(reply.integer);
    case REDIS_REPLY_STRING:
      return Reply::Bulk(text());
    case REDIS_REPLY_ARRAY: {
      std::vector<Reply> elements;
      for (size_t i = 0; i < reply.elements; ++i) elements.push_back(Convert(*reply.element[i]));
      return Reply::Array(std::move(elements));
    }
    default:
      return Reply::Null();
  }
}

std::string FindServer() {
  for (const char* path : {"/usr/bin/redis-server", "/usr/local/bin/redis-server"}) {
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

}  // namespace

bool RedisServer::IsInstalled() {
  return !FindServer().empty();
}

RedisServer::RedisServer() {
  std::string name = (std::filesystem::temp_directory_path() / "tenure-redis-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    ADD_FAILURE() << "no temporary folder " << name;
    return;
  }
  folder_ = name;
  const std::string socket = folder_ + "/socket";
  std::vector<std::string> words = {
      FindServer(),    "--port", "0",     "--unixsocket", socket,        "--save", "",
      "--appendonly",  "no",     "--dir", folder_,        "--daemonize", "no",     "--logfile",
      folder_ + "/log"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  if (posix_spawn(&process_, words[0].c_str(), nullptr, nullptr, argv.data(), environ) != 0) {
    ADD_FAILURE() << "redis-server cannot be started";
    process_ = 0;
    return;
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < deadline) {
    context_ = redisConnectUnix(socket.c_str());
    if (context_ != nullptr && context_->err == 0) return;
    redisFree(context_);
    context_ = nullptr;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ADD_FAILURE() << "redis-server does not answer; its log: " << folder_ << "/log";
}

RedisServer::~RedisServer() {
  redisFree(context_);
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Reply RedisServer::Run(const Arguments& arguments) {
  std::vector<const char*> words;
  std::vector<size_t> sizes;
  for (const std::string& argument : arguments) {
    words.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  auto* reply = static_cast<redisReply*>(
      redisCommandArgv(context_, static_cast<int>(words.size()), words.data(), sizes.data()));
  if (reply == nullptr) {
    ADD_FAILURE() << "the connection to redis-server broke: " << context_->errstr;
    return Reply::Error("connection broke");
  }
  Reply converted = Convert(*reply);
  freeReplyObject(reply);
  return converted;
}

}  // namespace tenure::store
