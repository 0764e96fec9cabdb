#include "cli/run.h"

int main(int argc, char** argv) {
  return tenure::cli::Run(argc, argv);
}
