// Carries the precompiled header; see asio_pch.hpp.
