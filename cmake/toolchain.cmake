# Compiler, language and warnings for every target of the project.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "GCC ${CMAKE_CXX_COMPILER_VERSION} destroys temporaries of a statement with "
                      "co_await twice. Use clang-19 (./run does) or GCC 13 and later.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

option(PRONTO_TESTS "Build the tests" ON)
option(PRONTO_WARNINGS_AS_ERRORS "Warnings end the build" OFF)
set(PRONTO_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")

find_program(PRONTO_CCACHE ccache)
if(PRONTO_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${PRONTO_CCACHE}")
endif()

# Warnings and hardening, linked privately by every layer, app and test.
add_library(pronto_flags INTERFACE)
target_compile_options(pronto_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor)
if(PRONTO_WARNINGS_AS_ERRORS)
  target_compile_options(pronto_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Designated initialisers that leave members to their defaults are the house's Options idiom.
  target_compile_options(pronto_flags INTERFACE -Wno-missing-field-initializers
                                                -Wno-missing-designated-field-initializers)
  target_link_options(pronto_flags INTERFACE -fuse-ld=lld)
endif()
# Layers are compiled for both: tests link their machine code, quickly, and the programs their intermediate code, so that
# what is small is inlined across files (ADR 0006).
add_library(pronto_lto_objects INTERFACE)
add_library(pronto_lto_link INTERFACE)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT PRONTO_SANITIZE)
  target_compile_options(pronto_lto_objects INTERFACE -flto=thin -ffat-lto-objects)
  target_link_options(pronto_lto_link INTERFACE
    -flto=thin -ffat-lto-objects "-Wl,--thinlto-cache-dir=${CMAKE_BINARY_DIR}/lto"
    "-Wl,--thinlto-cache-policy,cache_size_bytes=200m")
endif()

if(PRONTO_SANITIZE)
  target_compile_options(pronto_flags INTERFACE -fsanitize=${PRONTO_SANITIZE} -fno-omit-frame-pointer
                                                -fno-sanitize-recover=all)
  target_link_options(pronto_flags INTERFACE -fsanitize=${PRONTO_SANITIZE})
  target_compile_definitions(pronto_flags INTERFACE PRONTO_SLOW_CHECKS=1)
endif()
