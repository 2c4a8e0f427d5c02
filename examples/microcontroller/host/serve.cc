// Serve of ../serve.h on a computer: a serial port that is the standard input and output, or a terminal.
//   serve [terminal]
#include "../serve.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace {

int in = STDIN_FILENO, out = STDOUT_FILENO;

bool Read(std::uint8_t* byte) { return read(in, byte, 1) == 1; }

void Write(const std::uint8_t* bytes, std::size_t count) {
  while (count > 0) {
    const ssize_t written = write(out, bytes, count);
    if (written <= 0) return;
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
}

std::uint32_t Microseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

// Lets every byte through as it is.
void MakeRaw(int file) {
  termios settings;
  if (tcgetattr(file, &settings) != 0) return;  // a pipe or a file
  cfmakeraw(&settings);
  tcsetattr(file, TCSANOW, &settings);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    in = out = open(argv[1], O_RDWR | O_NOCTTY);
    if (in < 0) {
      std::perror(argv[1]);
      return 2;
    }
  }
  MakeRaw(in);
  Serve({Read, Write, Microseconds});
  return 0;
}
