"""What tests are built with. No tests here."""
