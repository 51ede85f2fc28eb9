"""The counting house: tables in, p-values out."""
