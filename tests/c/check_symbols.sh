#!/bin/sh
# check_symbols.sh SHARED STATIC: the library exports vlj_* alone, takes no other name in a static link, and can neither
# print nor end the process.
set -eu
shared=$1
static=$2

exported=$(nm -D --defined-only "$shared" | awk '{print $NF}' | grep -v '^vlj_' || true)
if [ -n "$exported" ]; then
    echo "exported beside vlj_*:" $exported
    exit 1
fi
foreign=$(nm -g --defined-only "$static" | awk 'NF == 3 {print $NF}' | grep -v '^vlj_' || true)
if [ -n "$foreign" ]; then
    echo "global beside vlj_* in the static library:" $foreign
    exit 1
fi
banned='abort|_?exit|_Exit|quick_exit|atexit|raise|kill|__assert_fail|v?printf|v?fprintf|__v?f?printf_chk|v?dprintf|puts|putchar|putc|fputs|fputc|fwrite|perror|write|stdout|stderr|syslog|signal|sigaction|system|fork|setlocale'
found=$(nm -D --undefined-only "$shared" | awk '{print $NF}' | sed 's/@.*//' | grep -Ex "$banned" || true)
if [ -n "$found" ]; then
    echo "the library must not use:" $found
    exit 1
fi
# The check itself must be able to see: these are there in every build.
nm -D --defined-only "$shared" | grep -q ' vlj_model_open$'
nm -D --undefined-only "$shared" | grep -q ' snprintf'
nm -D --undefined-only "$shared" | grep -q ' dlopen'
