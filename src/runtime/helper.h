// Lets a thread that has come to the end of a round - of polling sockets, of waiting for a disk - run itself
// what it posted in that round, where it would otherwise have to wake a sleeping thread for it. A wake-up
// costs its caller microseconds and, on a virtual machine, the woken thread tens of them; of the threads that
// a request passes through most are then the same one.
//
//   Helper helper;                       // on the stack of the thread
//   for (;;) { Poll(); helper.Run(); }
//
// What may block calls BeforeBlocking first: a disk that hangs must not hold what is no disk's.
//
// Executors that are no threads (the simulator's) know nothing of it, and nothing changes with them.
//
// Threading: the thread that made it.
// Lifetime:  what was claimed stays so until Run or Release, so call one of them at the end of every round.
#pragma once

#include <vector>

namespace tenure::runtime {

// An executor whose thread sleeps while another one is in charge of it.
class Helped {
 public:
  // Runs what is queued, unless it is `only_release`; then the executor's own thread is in charge again.
  virtual void Help(bool only_release) = 0;

 protected:
  ~Helped() = default;
};

class Helper {
 public:
  Helper();
  ~Helper();
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  void Run() { End(/*only_release=*/false); }
  // The thread has more to do itself: the executors' own threads are woken.
  void Release() { End(/*only_release=*/true); }

  // Releases what the helper of this thread, if it has one, has claimed.
  static void BeforeBlocking();

  // For executors. The helper of this thread, if it has one; while one runs it has none.
  static Helper* OfThisThread();
  // `helped` is in this thread's charge until it is told to Help.
  void Claim(Helped& helped) { claimed_.push_back(&helped); }

 private:
  void End(bool only_release);
  std::vector<Helped*> claimed_;
  Helper* const outer_;
};

}  // namespace tenure::runtime
