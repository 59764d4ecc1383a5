"""WebShop: find a product, choose its options, buy it. No JVM, no server, no second process."""
