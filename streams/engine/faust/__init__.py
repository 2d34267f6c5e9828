"""The consumer group by Faust: the only package that touches the insides of Faust and aiokafka."""
