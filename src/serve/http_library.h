#pragma once

// cpp-httplib as Debian builds its library: with these the classes of its header have the layout of that.
// Here and not among the compiler's flags, so that no other source's depend on it.
#define CPPHTTPLIB_OPENSSL_SUPPORT
#define CPPHTTPLIB_ZLIB_SUPPORT
#define CPPHTTPLIB_BROTLI_SUPPORT

#include <httplib.h>
