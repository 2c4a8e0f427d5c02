// Answers the images that `python -m odn_keras.evaluate --runtime=serial` sends over the port of the console.
#include <cstdint>

#include "driver/uart.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "serve.h"

namespace {

constexpr uart_port_t kPort = UART_NUM_0;
constexpr int kBuffer = 4096;  // bytes that may arrive while an answer is sent

bool Read(std::uint8_t* byte) { return uart_read_bytes(kPort, byte, 1, portMAX_DELAY) == 1; }

void Write(const std::uint8_t* bytes, std::size_t count) { uart_write_bytes(kPort, bytes, count); }

std::uint32_t Microseconds() { return static_cast<std::uint32_t>(esp_timer_get_time()); }

}  // namespace

extern "C" void app_main() {
  if (uart_driver_install(kPort, kBuffer, 0, 0, nullptr, 0) != ESP_OK) return;
  Serve({Read, Write, Microseconds});
}
