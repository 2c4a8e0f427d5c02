"""Files for Android and the browser, and the library that runs them."""
