# Everything Pronto stands on, as Debian 12 packages it. Boost is a SYSTEM include everywhere.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(OpenSSL 3 REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)

# Asio and Beast are compiled once; whoever includes them links this and says so with HEAVY in pronto_layer().
add_library(pronto_asio STATIC "${CMAKE_SOURCE_DIR}/cmake/asio.cpp")
target_compile_definitions(pronto_asio PUBLIC BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
                                              BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE)
target_link_libraries(pronto_asio PUBLIC Boost::headers OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
if(PRONTO_SANITIZE)
  target_link_libraries(pronto_asio PRIVATE pronto_flags)
  target_compile_options(pronto_asio PRIVATE -w)
endif()

# The programs' allocator (ADR 0005); sanitizers bring their own. It stands in for malloc by being linked, so the linker
# must not leave it out for want of a reference.
add_library(pronto_allocator INTERFACE)
if(NOT PRONTO_SANITIZE)
  find_package(mimalloc 2.0 REQUIRED)
  target_link_libraries(pronto_allocator INTERFACE "-Wl,--push-state,--no-as-needed" mimalloc "-Wl,--pop-state")
endif()

if(PRONTO_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
