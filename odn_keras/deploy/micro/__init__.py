"""For microcontrollers: C++ sources, TFLite Micro, Ethos-U."""
