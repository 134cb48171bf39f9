"""Receivers: one protocol a module. Each checks what arrives, hands the bytes to the journal, and answers."""
