#include "cli/resp_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace tenure::cli {
namespace {

class Socket {
 public:
  Socket() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void SetTimeouts(int fd, Duration limit) {
  timeval time;
  time.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(limit).count();
  time.tv_usec =
      std::chrono::duration_cast<std::chrono::microseconds>(limit % std::chrono::seconds(1)).count();
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

// True when `answer` holds a whole error or bulk string.
bool IsWhole(const std::string& answer) {
  const size_t line = answer.find("\r\n");
  if (line == std::string::npos) return false;
  if (answer[0] != '$') return true;
  return answer.size() >= line + 2 + static_cast<size_t>(std::max(0, std::atoi(answer.c_str() + 1))) + 2;
}

}  // namespace

Status ProbeResp(int port, Duration limit) {
  const Socket socket;
  SetTimeouts(socket.fd(), limit);
  const sockaddr_in address = Loopback(port);
  if (connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error(StatusCode::kUnavailable, "port {}: {}", port, std::strerror(errno));
  }
  constexpr std::string_view kQuestion = "*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n";
  if (send(socket.fd(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL) < 0) {
    return Error(StatusCode::kUnavailable, "port {}: {}", port, std::strerror(errno));
  }
  std::string answer;
  while (!IsWhole(answer)) {
    char buffer[4096];
    const ssize_t size = recv(socket.fd(), buffer, sizeof buffer, 0);
    if (size <= 0) {
      return Error(StatusCode::kUnavailable, "port {}: {}", port,
                   size == 0 ? "closed" : std::strerror(errno));
    }
    answer.append(buffer, static_cast<size_t>(size));
  }
  if (answer[0] == '-')
    return Error(StatusCode::kUnavailable, "port {}: {}", port, answer.substr(1, answer.find('\r') - 1));
  if (answer.find("cluster_state:ok") == std::string::npos) {
    return Error(StatusCode::kUnavailable, "port {}: not every slot has a leader", port);
  }
  return OkStatus();
}

Status CheckPortFree(int port) {
  const Socket socket;
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = Loopback(port);
  if (bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    return Error(error == EADDRINUSE ? StatusCode::kFailedPrecondition : StatusCode::kPermissionDenied,
                 "port {}: {}", port, std::strerror(error));
  }
  return OkStatus();
}

}  // namespace tenure::cli
