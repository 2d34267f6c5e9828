"""From a user's request to the instances that serve it: claims, the standard path, outcomes.

Here belongs what runs while a user waits. Which instances should be warm beforehand is decided in
`streams.allocator`; starting and ending them is the work of `streams.provisioners`.
"""
