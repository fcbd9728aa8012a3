# pronto_layer(NAME SOURCES ... [MAY_USE layers...] [LINK libraries...] [TESTS files...])
#
# The only way to add a library. A layer has its own include root, and sees those on its MAY_USE
# line and no others: they are linked privately, so nothing comes along with them, and whoever uses
# a layer names what he includes himself. A header of another layer is not found; tools/check_headers.py
# proves it, and that each public header compiles alone.
# LINK names libraries that only the sources see; PUBLIC_LINK those that the headers need.
# TESTS become the executable NAME_test, each file listed here.
function(pronto_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;MAY_USE;LINK;PUBLIC_LINK;TESTS;TEST_LINK")
  set(target pronto_${name})
  set(dir "${CMAKE_CURRENT_SOURCE_DIR}")
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${dir}/include/*.hpp")
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS "${dir}/include" FILES ${headers})
    target_link_libraries(${target} PRIVATE pronto_flags pronto_lto_objects ${arg_LINK})
    target_include_directories(${target} PRIVATE "${dir}/src")
  else()
    message(FATAL_ERROR "${name}: a layer has sources")
  endif()
  set(used)
  foreach(layer IN LISTS arg_MAY_USE)
    list(APPEND used pronto_${layer})
  endforeach()
  target_link_libraries(${target} PRIVATE ${used} PUBLIC ${arg_PUBLIC_LINK})
  add_library(pronto::${name} ALIAS ${target})

  if(PRONTO_TESTS AND arg_TESTS)
    add_executable(${name}_test ${arg_TESTS})
    target_include_directories(${name}_test PRIVATE "${dir}/src" "${dir}/test")
    target_link_libraries(${name}_test PRIVATE ${target} ${used} pronto_flags ${arg_TEST_LINK} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 300 LABELS unit)
    add_dependencies(unit_tests ${name}_test)
  endif()
endfunction()
