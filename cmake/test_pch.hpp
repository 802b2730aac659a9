// The precompiled header of tests: what asio_pch.hpp has, and GoogleTest.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "asio_pch.hpp"
