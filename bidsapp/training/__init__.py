"""The general model: many scans in, one network out that lays any of them on the atlas."""
