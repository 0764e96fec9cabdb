#include "daemon/run.h"

int main(int argc, char** argv) {
  return tenure::daemon::Run(argc, argv);
}
