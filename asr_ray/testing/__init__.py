"""Test kit, shipped with the library: synthetic multilingual speech and fakes for users and tests."""
