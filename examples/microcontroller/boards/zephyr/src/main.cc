// Answers the images that `python -m odn_keras.evaluate --runtime=serial` sends over the port of the console.
#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>

#include <cstdint>

#include "serve.h"

namespace {

const device* const port = DEVICE_DT_GET(DT_CHOSEN(zephyr_console));

bool Read(std::uint8_t* byte) {
  int status;
  while ((status = uart_poll_in(port, byte)) == -1) {  // nothing has arrived; other numbers are errors
  }
  return status == 0;
}

void Write(const std::uint8_t* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) uart_poll_out(port, bytes[i]);
}

std::uint32_t Microseconds() { return static_cast<std::uint32_t>(k_ticks_to_us_floor64(k_uptime_ticks())); }

}  // namespace

int main() {
  if (!device_is_ready(port)) return 1;
  Serve({Read, Write, Microseconds});
  return 0;
}
