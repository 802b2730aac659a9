// Carries the precompiled header; see test_pch.hpp.
