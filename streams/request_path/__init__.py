"""Between a request and its instances: claims, the standard path, outcomes; decides no pre-allocation."""
