"""What several rehearsal families share."""
