"""Texts as people have them: tables, their columns and their labels."""
