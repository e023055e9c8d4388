/* The interpreter as a program that Clang has linked with ThreadSanitizer. */
#include <Python.h>

int main(int argc, char **argv) {
    return Py_BytesMain(argc, argv);
}
