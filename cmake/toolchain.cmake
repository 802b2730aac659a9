# Compiler settings shared by every target: language level, warnings, sanitizers, linker.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# Dev: a little optimisation and line tables only; the quickest compile-and-debug cycle.
set(CMAKE_CXX_FLAGS_DEV "-O1 -gline-tables-only" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_DEV "-O1 -gline-tables-only" CACHE STRING "" FORCE)
set(CMAKE_EXE_LINKER_FLAGS_DEV "" CACHE STRING "" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG" CACHE STRING "" FORCE)

add_library(fairlead_warnings INTERFACE)
target_compile_options(fairlead_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wnon-virtual-dtor -Wundef -Wswitch-enum -Werror
  # Designated initialisers name what is not default; that is what they are for.
  -Wno-missing-designated-field-initializers)

# Identical inputs give identical precompiled headers, which ccache needs to reuse them. Everything is -fPIE, libraries
# too: programs and libraries share one precompiled header, which must agree on that.
add_library(fairlead_options INTERFACE)
target_compile_options(fairlead_options INTERFACE -fPIE "SHELL:-Xclang -fno-pch-timestamp")
target_compile_definitions(fairlead_options INTERFACE
  _GLIBCXX_ASSERTIONS
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE)
target_link_options(fairlead_options INTERFACE -fuse-ld=lld-19 -pie)

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(fairlead_options INTERFACE
    -fstack-protector-strong -fstack-clash-protection -fcf-protection -D_FORTIFY_SOURCE=2)
  target_link_options(fairlead_options INTERFACE -Wl,-z,relro,-z,now)
endif()
if(FAIRLEAD_SANITIZE)
  target_compile_options(fairlead_options INTERFACE
    -fsanitize=${FAIRLEAD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(fairlead_options INTERFACE -fsanitize=${FAIRLEAD_SANITIZE})
endif()
if(FAIRLEAD_COVERAGE)
  target_compile_options(fairlead_options INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(fairlead_options INTERFACE -fprofile-instr-generate)
endif()

# fairlead_module(NAME FOLDER [LINK modules...] [SYSTEM libraries...] [ASIO])
# One module = one folder = one static library fairlead::NAME made of all its .cpp files.
# LINK names the modules it may include from. The layering of ARCHITECTURE.md is enforced here: a module's
# headers are visible only through an include root of its own (a link to its folder in the build tree), and
# include roots travel only along LINK. ASIO makes the module reuse the precompiled Asio header.
function(fairlead_module name folder)
  cmake_parse_arguments(M "ASIO" "" "LINK;SYSTEM" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cpp)
  get_filename_component(parent ${PROJECT_BINARY_DIR}/include/${name}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${folder} ${PROJECT_BINARY_DIR}/include/${name}/${folder} SYMBOLIC)
  if(NOT sources)  # a module of headers only
    set(sources ${PROJECT_SOURCE_DIR}/cmake/asio_pch.cpp)
  endif()
  add_library(fairlead_${name} STATIC ${sources})
  add_library(fairlead::${name} ALIAS fairlead_${name})
  target_include_directories(fairlead_${name} PUBLIC ${PROJECT_BINARY_DIR}/include/${name})
  target_link_libraries(fairlead_${name} PUBLIC fairlead_options ${M_LINK} ${M_SYSTEM} PRIVATE fairlead_warnings)
  if(M_ASIO)
    target_link_libraries(fairlead_${name} PUBLIC Boost::headers Threads::Threads)
    target_precompile_headers(fairlead_${name} REUSE_FROM fairlead_asio_pch)
  endif()
endfunction()

# fairlead_test(NAME FOLDER LABEL [LINK modules...]): one GoogleTest program made of tests/FOLDER/*.cpp;
# each TEST becomes a ctest entry labelled LABEL (unit, golden, packets, api, faults).
function(fairlead_test name folder label)
  cmake_parse_arguments(T "" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  fairlead_test_program(${name})
  target_compile_definitions(${name} PRIVATE FAIRLEAD_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    FAIRLEAD_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${T_LINK})
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()

# What every program of tests is compiled with. Tests are not optimised: what they test is, and they compile in half the time.
function(fairlead_test_program name)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE fairlead_test_options)
  target_precompile_headers(${name} REUSE_FROM fairlead_test_pch)
endfunction()
