/* Debian's librtmp encodes the fields of Adobe's login with nettle_base64_encode_raw, which writes no
 * NUL, and then prints them with %s: what is on its stack behind them gets into the login, and now and
 * then over the end of its heap block. This library, preloaded, gives it the NUL that it counts on.
 * It has room for it: 24 of 32 bytes, 8 of 16. */
#include <stddef.h>
#include <stdint.h>

void nettle_base64_encode_raw(char *out, size_t length, const uint8_t *in)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i;
    for (i = 0; i < length; i += 3) {
        uint32_t word = (uint32_t)in[i] << 16;
        if (i + 1 < length) word |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < length) word |= in[i + 2];
        *out++ = alphabet[word >> 18 & 63];
        *out++ = alphabet[word >> 12 & 63];
        *out++ = i + 1 < length ? alphabet[word >> 6 & 63] : '=';
        *out++ = i + 2 < length ? alphabet[word & 63] : '=';
    }
    *out = '\0';
}
